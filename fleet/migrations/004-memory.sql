-- What a host remembers of a ledger that was restored, VMs that it has in hand and forgot, and what nobody may change.

-- What the host said when it was last heard of, and what of it the operator has let count although this ledger does not know it.
alter table cprkit_fleet.host add column local_token uuid;
alter table cprkit_fleet.host add column adopted_token uuid;
-- So often was it taken in hand and given back; a job that was over before that does not count.
alter table cprkit_fleet.rollout_vm add column taken_back integer not null default 0;

create or replace function cprkit_fleet.knows(p_host text, p_epoch bigint, p_seen bigint, p_token uuid) returns boolean
language sql stable set search_path = cprkit_fleet, pg_temp as $$
  select exists (
    select from host h where h.name = p_host and h.epoch >= p_epoch
      and (
        p_seen is null or h.adopted_token = p_token
        or exists (select from audit a where a.id = p_seen and a.token = p_token)
      )
  )
$$;

drop function cprkit_fleet.heartbeat(bigint, bigint, uuid, jsonb);
create function cprkit_fleet.heartbeat(
  p_epoch bigint, p_seen bigint, p_token uuid, p_versions jsonb,
  out is_known boolean, out epoch bigint, out seen bigint, out token uuid, out in_hand bigint
)
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
declare
  me text := my_host();
begin
  if me is null then
    raise exception 'role % is no host of this fleet', session_user using errcode = 'insufficient_privilege';
  end if;
  is_known := knows(me, p_epoch, p_seen, p_token);
  update host h set last_seen = clock_timestamp(), local_epoch = p_epoch, local_token = p_token,
      versions = p_versions, in_order = is_known
    where h.name = me returning h.epoch into epoch;
  if is_known then
    select a.id, a.token into seen, token from audit a order by a.id desc limit 1;
  end if;
  select count(*) into in_hand from rollout_vm v where v.host = me and v.state in ('claimed', 'switching');
end $$;
revoke all on function cprkit_fleet.heartbeat(bigint, bigint, uuid, jsonb) from public;
grant execute on function cprkit_fleet.heartbeat(bigint, bigint, uuid, jsonb) to cprkit_fleet_host;

-- As before, and it counts how often a VM was given back.
create or replace function cprkit_fleet.finish(
  p_rollout text, p_vm text, p_epoch bigint,
  p_state text, p_code text, p_why text, p_before jsonb, p_after jsonb, p_downtime_ms double precision, p_report jsonb
) returns boolean
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
declare
  me text := my_host();
begin
  if p_state not in ('planned', 'updated', 'failed', 'lost', 'skipped') then
    raise exception 'a host can not say %', p_state;
  end if;
  -- A rollout that is over begins no VM any more.
  if p_state = 'planned' and exists (select from rollout where id = p_rollout and state in ('aborted', 'finished')) then
    p_state := 'skipped';
    p_code := 'aborted';
  end if;
  update rollout_vm v set
      state = p_state,
      taken_back = v.taken_back + case when p_state = 'planned' then 1 else 0 end,
      code = case when p_state in ('failed', 'lost', 'skipped') then coalesce(p_code, 'unknown') end,
      why = p_why,
      before = coalesce(p_before, v.before), after = p_after, downtime_ms = p_downtime_ms, report = p_report,
      ended_at = case when p_state = 'planned' then null else now() end
    where v.rollout = p_rollout and v.host = me and v.vm = p_vm
      and v.state in ('claimed', 'switching') and v.epoch = p_epoch;
  return found;
end $$;

-- What a host has said stands, and a rollout keeps the policy with which it was planned.

create or replace function cprkit_fleet.check_rollout() returns trigger
language plpgsql set search_path = cprkit_fleet, pg_temp as $$
begin
  if (old.id, old.kind, old.undoes, old.release, old.policy, old.who)
    is distinct from (new.id, new.kind, new.undoes, new.release, new.policy, new.who)
  then
    raise exception 'what rollout % is for can not be changed', old.id;
  end if;
  if old.state in ('aborted', 'finished') and new.state <> old.state then
    raise exception 'rollout % is % and stays so', old.id, old.state;
  end if;
  return new;
end $$;

create or replace function cprkit_fleet.check_rollout_vm() returns trigger
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
declare
  is_host boolean := coalesce(my_host() = new.host, false);
begin
  if tg_op = 'UPDATE' and (old.rollout, old.host, old.vm, old.release) is distinct from (new.rollout, new.host, new.vm, new.release)
  then
    raise exception 'what a VM shall run can not be changed';
  end if;
  if not is_host and new.state in ('claimed', 'switching', 'updated', 'lost')
    and (tg_op = 'INSERT' or new.state <> old.state)
  then
    raise exception 'only host % says that % is %', new.host, new.vm, new.state using errcode = 'insufficient_privilege';
  end if;
  if tg_op = 'UPDATE' and not is_host and old.state in ('claimed', 'switching') and new.state <> old.state then
    raise exception 'host % has % in hand', new.host, new.vm using errcode = 'insufficient_privilege';
  end if;
  if tg_op = 'UPDATE' and new.state <> old.state and old.state in ('updated', 'failed', 'lost', 'refused', 'skipped') then
    raise exception '% on host % is % and stays so', new.vm, new.host, old.state using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;

-- What a host saw no other role writes; an operator steers only what nobody has in hand.
revoke update on cprkit_fleet.rollout_vm from cprkit_fleet_operator;
grant update (state, code, why, wave, attempt, trace, accepted, queued_at, ended_at) on cprkit_fleet.rollout_vm
  to cprkit_fleet_operator;
revoke update on cprkit_fleet.rollout from cprkit_fleet_operator;
grant update (state, reason, gate, trace, started_at, ended_at) on cprkit_fleet.rollout to cprkit_fleet_operator;
grant update (adopted_token) on cprkit_fleet.host to cprkit_fleet_operator;

alter function cprkit_fleet.append_only() set search_path = cprkit_fleet, pg_temp;

-- The owner of these tables is not subject to row-level security (it is enabled, not forced): the functions above run as
-- that role, and each of them names the caller's host itself.
