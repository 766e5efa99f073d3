-- Passwords of one store's two roles, from files that only the server's user may read. After roles.sql, as the
-- administrator, over the local socket: the statement is not logged, and what is stored is a SCRAM verifier.

\set ON_ERROR_STOP 1
\getenv store COFRE_STORE
SELECT 'cofre_' || :'store' AS serving, 'cofre_' || :'store' || '_owner' AS owner \gset
-- In containers they are in /run/secrets; COFRE_SECRETS names another folder.
\getenv secrets COFRE_SECRETS
\if :{?secrets}
\else
  \set secrets /run/secrets
\endif
\set owner_password `cat :'secrets'/owner`
\set serving_password `cat :'secrets'/serving`
SET password_encryption = 'scram-sha-256';
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
ALTER ROLE :"owner" PASSWORD :'owner_password';
ALTER ROLE :"serving" PASSWORD :'serving_password';
