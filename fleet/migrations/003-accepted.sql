-- What has failed when somebody lets a halted rollout go on: it is accepted, and counts no more.
alter table cprkit_fleet.rollout_vm add column accepted boolean not null default false;
