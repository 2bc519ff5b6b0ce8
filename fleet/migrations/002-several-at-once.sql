-- Several VMs of a host at the same time, the trace that a job belongs to, and the pause that a guest may have.

-- W3C's traceparent. Only data: an agent looks at its form again, and nothing depends on it.
alter table cprkit_fleet.rollout add column trace text
  check (trace ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');
alter table cprkit_fleet.rollout_vm add column trace text
  check (trace ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');

-- Takes a VM in hand. The reason why not, or the epoch and the release. The host's row is locked first: two that are
-- claimed at the same time get two epochs.
drop function cprkit_fleet.claim(text, text, bigint, bigint, uuid);
create function cprkit_fleet.claim(
  p_rollout text, p_vm text, p_epoch bigint, p_seen bigint, p_token uuid,
  out why text, out epoch bigint, out release text, out trace text, out max_pause_ms double precision
)
language plpgsql security definer set search_path = cprkit_fleet, pg_temp as $$
declare
  me text := my_host();
  how text;
begin
  select r.state, (r.policy ->> 'maxPauseMs')::double precision into how, max_pause_ms
    from rollout r where r.id = p_rollout for share;
  perform from host h where h.name = me for update;
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
      returning v.epoch, v.release, v.trace into epoch, release, trace;
    if not found then
      why := 'the ledger has not asked this host for it';
    else
      update host h set epoch = claim.epoch where h.name = me;
    end if;
  end if;
end $$;
revoke all on function cprkit_fleet.claim(text, text, bigint, bigint, uuid) from public;
grant execute on function cprkit_fleet.claim(text, text, bigint, bigint, uuid) to cprkit_fleet_host;

-- The last question before the switch: null, or the reason why not. An epoch is given to one attempt and never again, so
-- the row's own tells whether this is the one; a host that is out of order switches nothing.
create or replace function cprkit_fleet.fence(p_rollout text, p_vm text, p_epoch bigint) returns text
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
    where h.name = me and h.in_order and h.epoch >= p_epoch
      and v.rollout = p_rollout and v.host = me and v.vm = p_vm and v.state = 'claimed' and v.epoch = p_epoch;
  if not found then
    return 'the ledger has another attempt of this host by now';
  end if;
  return null;
end $$;
