-- The ledger of a fleet: what was asked for, what each host saw, and who did what. It is the truth about a rollout; the
-- engine's own tables (schema dbos) only carry jobs.
--
-- Hosts write nothing here by themselves: they call the functions at the end, each of which knows the caller's host by its
-- role. What they may read, row-level security decides.

create schema if not exists cprkit_fleet;

-- Roles belong to the whole server, and may be there already.
do $$
begin
  create role cprkit_fleet_operator nologin;
exception when duplicate_object then null;
end $$;
do $$
begin
  create role cprkit_fleet_host nologin;
exception when duplicate_object then null;
end $$;

create table cprkit_fleet.host (
  name text primary key check (name ~ '^[a-z0-9][a-z0-9.-]{0,62}$'),
  -- The role as which its agent logs in.
  role name not null unique,
  rack text not null default '',
  -- Goes up by one with each VM that the host claims: who comes with an older one is too late.
  epoch bigint not null default 0,
  -- What the agent says.
  local_epoch bigint not null default 0,
  -- False: the host remembers what this ledger does not know, as after the ledger was restored.
  in_order boolean not null default true,
  last_seen timestamptz,
  versions jsonb not null default '{}'
);

create table cprkit_fleet.rollout (
  id text primary key check (id ~ '^[a-z0-9][a-z0-9-]{0,40}$'),
  kind text not null check (kind in ('update', 'undo')),
  undoes text references cprkit_fleet.rollout,
  -- Of an undo: the release that is taken away.
  release text not null,
  policy jsonb not null,
  state text not null default 'planning'
    check (state in ('planning', 'planned', 'running', 'paused', 'halted', 'aborted', 'finished')),
  reason text,
  -- The last wave that somebody has let through by hand.
  gate integer not null default 0,
  who name not null default session_user,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  ended_at timestamptz,
  check ((kind = 'undo') = (undoes is not null))
);

create table cprkit_fleet.rollout_vm (
  rollout text not null references cprkit_fleet.rollout,
  host text not null references cprkit_fleet.host,
  vm text not null check (vm ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$'),
  -- What it shall run.
  release text not null,
  wave integer check (wave > 0),
  state text not null default 'planned' check (
    state in ('planned', 'queued', 'claimed', 'switching', 'updated', 'failed', 'lost', 'refused', 'skipped')
  ),
  -- Why it is refused or skipped: a code of cprkit's findings or of docs/fleet.md, and the sentence for people.
  code text,
  why text,
  attempt integer not null default 0,
  epoch bigint,
  -- What ran before and what runs now, as the host saw it.
  before jsonb,
  after jsonb,
  downtime_ms double precision,
  report jsonb,
  queued_at timestamptz,
  claimed_at timestamptz,
  ended_at timestamptz,
  primary key (rollout, host, vm),
  check ((code is not null) = (state in ('refused', 'skipped', 'failed', 'lost')))
);

-- Of all rollouts one has a VM in hand.
create unique index one_attempt on cprkit_fleet.rollout_vm (host, vm) where state in ('queued', 'claimed', 'switching');
create index rollout_vm_of_host on cprkit_fleet.rollout_vm (host, state);

create table cprkit_fleet.audit (
  id bigint generated always as identity primary key,
  -- A host that has seen this line finds it again, unless the ledger was restored to a time before it.
  token uuid not null default gen_random_uuid(),
  at timestamptz not null default clock_timestamp(),
  who name not null,
  certificate text,
  what text not null,
  rollout text,
  host text,
  vm text,
  detail jsonb
);

create function cprkit_fleet.my_host() returns text
language sql stable security definer set search_path = cprkit_fleet, pg_temp as $$
  select name from host where role = session_user
$$;

-- The audit trail.

create function cprkit_fleet.note(p_what text, p_rollout text, p_host text, p_vm text, p_detail jsonb) returns void
language sql security definer set search_path = cprkit_fleet, pg_catalog, pg_temp as $$
  insert into audit (who, certificate, what, rollout, host, vm, detail)
  values (
    session_user,
    (select client_dn from pg_stat_ssl where pid = pg_backend_pid()),
    p_what, p_rollout, p_host, p_vm, p_detail
  )
$$;

create function cprkit_fleet.append_only() returns trigger language plpgsql as $$
begin
  raise exception 'the audit trail is append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger append_only before update or delete or truncate on cprkit_fleet.audit
  for each statement execute function cprkit_fleet.append_only();

create function cprkit_fleet.watch_host() returns trigger
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    perform note('host-added', null, new.name, null, jsonb_build_object('role', new.role, 'rack', new.rack));
  elsif (old.role, old.rack, old.in_order) is distinct from (new.role, new.rack, new.in_order) then
    perform note('host-changed', null, new.name, null,
      jsonb_build_object('role', new.role, 'rack', new.rack, 'inOrder', new.in_order, 'epoch', new.epoch));
  end if;
  return null;
end $$;
create trigger watch after insert or update on cprkit_fleet.host
  for each row execute function cprkit_fleet.watch_host();

create function cprkit_fleet.watch_rollout() returns trigger
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    perform note('rollout-' || new.state, new.id, null, null,
      jsonb_build_object('kind', new.kind, 'release', new.release, 'undoes', new.undoes, 'policy', new.policy));
    return null;
  end if;
  if (old.state, old.gate) is distinct from (new.state, new.gate) then
    perform note('rollout-' || new.state, new.id, null, null, jsonb_build_object('reason', new.reason, 'gate', new.gate));
  end if;
  return null;
end $$;
create trigger watch after insert or update on cprkit_fleet.rollout
  for each row execute function cprkit_fleet.watch_rollout();

create function cprkit_fleet.check_rollout() returns trigger language plpgsql as $$
begin
  if (old.id, old.kind, old.undoes, old.release, old.who) is distinct from (new.id, new.kind, new.undoes, new.release, new.who)
  then
    raise exception 'what rollout % is for can not be changed', old.id;
  end if;
  if old.state in ('aborted', 'finished') and new.state <> old.state then
    raise exception 'rollout % is % and stays so', old.id, old.state;
  end if;
  return new;
end $$;
create trigger checked before update on cprkit_fleet.rollout
  for each row execute function cprkit_fleet.check_rollout();

-- What a host has in hand only that host ends: the ledger is written from what it saw.
create function cprkit_fleet.check_rollout_vm() returns trigger
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
  return new;
end $$;
create trigger checked before insert or update on cprkit_fleet.rollout_vm
  for each row execute function cprkit_fleet.check_rollout_vm();

-- Queueing is the engine's daily work, thousands at a time, and changes no VM.
create function cprkit_fleet.watch_rollout_vm() returns trigger
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
begin
  perform note('vm-' || new.state, new.rollout, new.host, new.vm,
    jsonb_strip_nulls(jsonb_build_object('epoch', new.epoch, 'code', new.code, 'release', new.release)));
  return null;
end $$;
create trigger watch after update on cprkit_fleet.rollout_vm
  for each row when (old.state is distinct from new.state and new.state <> 'queued')
  execute function cprkit_fleet.watch_rollout_vm();

-- What a host calls. Each is about the host of the role that calls it, and about no other.

create function cprkit_fleet.knows(p_host text, p_epoch bigint, p_seen bigint, p_token uuid) returns boolean
language sql stable set search_path = cprkit_fleet, pg_temp as $$
  select exists (select from host where name = p_host and epoch >= p_epoch)
    and (p_seen is null or exists (select from audit where id = p_seen and token = p_token))
$$;

create function cprkit_fleet.heartbeat(
  p_epoch bigint, p_seen bigint, p_token uuid, p_versions jsonb,
  out is_known boolean, out epoch bigint, out seen bigint, out token uuid
)
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
declare
  me text := my_host();
begin
  if me is null then
    raise exception 'role % is no host of this fleet', session_user using errcode = 'insufficient_privilege';
  end if;
  is_known := knows(me, p_epoch, p_seen, p_token);
  update host h set last_seen = clock_timestamp(), local_epoch = p_epoch, versions = p_versions, in_order = is_known
    where h.name = me returning h.epoch into epoch;
  if is_known then
    select a.id, a.token into seen, token from audit a order by a.id desc limit 1;
  end if;
end $$;

-- The answer of a host to the question what it could update.
create function cprkit_fleet.offer(
  p_rollout text, p_vm text, p_release text, p_before jsonb, p_state text, p_code text, p_why text
) returns void
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
declare
  me text := my_host();
begin
  if me is null or p_state not in ('planned', 'refused', 'skipped')
    or not exists (select from rollout where id = p_rollout and state = 'planning' for share)
  then
    raise exception 'rollout % is not being planned', p_rollout;
  end if;
  insert into rollout_vm (rollout, host, vm, release, before, state, code, why)
    values (p_rollout, me, p_vm, p_release, p_before, p_state, p_code, p_why)
    on conflict (rollout, host, vm) do nothing;
end $$;

-- Takes a VM in hand. The reason why not, or the epoch and the release.
create function cprkit_fleet.claim(
  p_rollout text, p_vm text, p_epoch bigint, p_seen bigint, p_token uuid,
  out why text, out epoch bigint, out release text
)
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
declare
  me text := my_host();
  how text;
begin
  select state into how from rollout where id = p_rollout for share;
  if me is null then
    why := 'this role is no host of the fleet';
  elsif how is distinct from 'running' then
    why := coalesce('the rollout is ' || how, 'the ledger knows no such rollout');
  elsif not knows(me, p_epoch, p_seen, p_token) then
    why := 'this host remembers what the ledger does not know';
  else
    update rollout_vm v set state = 'claimed', epoch = h.epoch + 1, claimed_at = now()
      from host h
      where h.name = me and v.rollout = p_rollout and v.host = me and v.vm = p_vm
        and v.state in ('queued', 'claimed', 'switching')
      returning v.epoch, v.release into epoch, release;
    if not found then
      why := 'the ledger has not asked this host for it';
    else
      update host h set epoch = claim.epoch where h.name = me;
    end if;
  end if;
end $$;

-- The last question before the switch: null, or the reason why not.
create function cprkit_fleet.fence(p_rollout text, p_vm text, p_epoch bigint) returns text
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
declare
  me text := my_host();
  how text;
begin
  -- A rollout that is being aborted is waited for.
  select state into how from rollout where id = p_rollout for share;
  if how is null or how not in ('running', 'paused') then
    return coalesce('the rollout is ' || how, 'the ledger knows no such rollout');
  end if;
  update rollout_vm v set state = 'switching'
    from host h
    where h.name = me and h.epoch = p_epoch
      and v.rollout = p_rollout and v.host = me and v.vm = p_vm and v.state = 'claimed' and v.epoch = p_epoch;
  if not found then
    return 'the ledger has another attempt of this host by now';
  end if;
  return null;
end $$;

-- What became of it, as the host saw it. False: the ledger does not know of this attempt.
create function cprkit_fleet.finish(
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
      code = case when p_state in ('failed', 'lost', 'skipped') then coalesce(p_code, 'unknown') end,
      why = p_why,
      before = coalesce(p_before, v.before), after = p_after, downtime_ms = p_downtime_ms, report = p_report,
      ended_at = case when p_state = 'planned' then null else now() end
    where v.rollout = p_rollout and v.host = me and v.vm = p_vm
      and v.state in ('claimed', 'switching') and v.epoch = p_epoch;
  return found;
end $$;

-- Who may what.

grant usage on schema cprkit_fleet to cprkit_fleet_operator, cprkit_fleet_host;
revoke all on all functions in schema cprkit_fleet from public;
grant execute on function cprkit_fleet.my_host() to cprkit_fleet_operator, cprkit_fleet_host;
grant execute on function
  cprkit_fleet.heartbeat(bigint, bigint, uuid, jsonb),
  cprkit_fleet.offer(text, text, text, jsonb, text, text, text),
  cprkit_fleet.claim(text, text, bigint, bigint, uuid),
  cprkit_fleet.fence(text, text, bigint),
  cprkit_fleet.finish(text, text, bigint, text, text, text, jsonb, jsonb, double precision, jsonb)
to cprkit_fleet_host;

grant select on all tables in schema cprkit_fleet to cprkit_fleet_operator;
grant insert, update on cprkit_fleet.rollout, cprkit_fleet.rollout_vm to cprkit_fleet_operator;
grant update (epoch, in_order, rack) on cprkit_fleet.host to cprkit_fleet_operator;
grant select on cprkit_fleet.host, cprkit_fleet.rollout, cprkit_fleet.rollout_vm to cprkit_fleet_host;

alter table cprkit_fleet.host enable row level security;
alter table cprkit_fleet.rollout enable row level security;
alter table cprkit_fleet.rollout_vm enable row level security;
alter table cprkit_fleet.audit enable row level security;

create policy operator on cprkit_fleet.host to cprkit_fleet_operator using (true) with check (true);
create policy operator on cprkit_fleet.rollout to cprkit_fleet_operator using (true) with check (true);
create policy operator on cprkit_fleet.rollout_vm to cprkit_fleet_operator using (true) with check (true);
create policy operator on cprkit_fleet.audit for select to cprkit_fleet_operator using (true);

create policy own on cprkit_fleet.host for select to cprkit_fleet_host using (name = cprkit_fleet.my_host());
create policy own on cprkit_fleet.rollout_vm for select to cprkit_fleet_host using (host = cprkit_fleet.my_host());
create policy own on cprkit_fleet.rollout for select to cprkit_fleet_host using (
  state = 'planning'
  or exists (select from cprkit_fleet.rollout_vm v where v.rollout = id and v.host = cprkit_fleet.my_host())
);
