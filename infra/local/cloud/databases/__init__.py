"""RDS for PostgreSQL: an instance is PostgreSQL 15 in a container; accounts, databases and grants are real ones.

Rights as on RDS: a normal account is a plain role (no new roles, no new databases); everybody may create in `public`
(help.aliyun.com, "Permission management"; PostgreSQL 15's own default differs). A Super account is no superuser of
PostgreSQL: it has CREATEROLE and CREATEDB, is in `rds_superuser`, `pg_monitor` and `pg_signal_backend`, and a member of
every normal account, so that it can change and revoke what those own. It makes roles by SQL and may give them what
PostgreSQL has for observers (`pg_monitor`), but none of the three roles that reach the server's files and programs. The
grant alone isolates nothing: PUBLIC may CONNECT to every database until somebody revokes it, as there.
"""
