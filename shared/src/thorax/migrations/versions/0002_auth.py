"""People, machines, sessions and signing keys, in a schema that only auth-service's role may enter."""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
create schema auth;

create table auth.tenants (
  id uuid primary key, created_at timestamptz not null default now());

create table auth.users (
  id uuid primary key, tenant_id uuid not null references auth.tenants, name text not null unique,
  password_hash text not null, scopes text[] not null, disabled_at timestamptz,
  created_at timestamptz not null default now());
create index users_newest on auth.users (created_at desc, id desc);
create index users_tenant on auth.users (tenant_id);

create table auth.invitations (
  digest bytea primary key, tenant_id uuid not null references auth.tenants on delete cascade,
  expires_at timestamptz not null);

create table auth.clients (
  id uuid primary key, owner_id uuid not null references auth.users on delete cascade, name text not null,
  scopes text[] not null, secret bytea not null, old_secret bytea, old_secret_until timestamptz,
  created_at timestamptz not null default now(), last_used_at timestamptz);
create index clients_owner on auth.clients (owner_id);

create table auth.sessions (
  id uuid primary key, user_id uuid not null references auth.users on delete cascade, scopes text[] not null,
  csrf text, user_agent text not null default '', created_at timestamptz not null default now(),
  last_used_at timestamptz not null default now(), expires_at timestamptz not null);
create index sessions_user on auth.sessions (user_id);
create index sessions_expiry on auth.sessions (expires_at);

create table auth.refresh_tokens (
  digest bytea primary key, session_id uuid not null references auth.sessions on delete cascade,
  used_at timestamptz);
create index refresh_tokens_session on auth.refresh_tokens (session_id);

create table auth.login_failures (
  id bigint generated always as identity primary key, account bytea not null, address text not null,
  failed_at timestamptz not null default clock_timestamp());
create index login_failures_address on auth.login_failures (address, failed_at);
create index login_failures_age on auth.login_failures (failed_at);

create table auth.signing_keys (
  kid text primary key, public_jwk jsonb not null, private_key bytea not null,
  created_at timestamptz not null default now(), active_from timestamptz not null, retires_at timestamptz);
"""

GRANTS = """
grant usage on schema auth to thorax_auth;
grant select, insert, update, delete on all tables in schema auth to thorax_auth;
grant usage on schema public to thorax_auth;
grant insert on doomed_tenants to thorax_auth;
"""


def upgrade() -> None:
    """Create the schema `auth`; nobody but thorax_auth gets any right in it."""
    op.execute(TABLES)
    op.execute(GRANTS)
