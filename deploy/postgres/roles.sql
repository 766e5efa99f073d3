-- One database of the vault and its two roles: the owner, which makes tables and grants, and the role that serves, which
-- gets exactly its rights from the migration and no others. Run by the administrator of each of the three servers, with
-- the store it is for in the environment; again changes nothing:
--
--   COFRE_STORE=records     psql --set ON_ERROR_STOP=1 --file roles.sql --host db1 --username postgres
--   COFRE_STORE=ciphertexts psql --set ON_ERROR_STOP=1 --file roles.sql --host db2 --username postgres
--   COFRE_STORE=keyring     psql --set ON_ERROR_STOP=1 --file roles.sql --host db3 --username postgres
--
-- Three servers keep what one administrator or one backup can reach apart. One server may hold all three databases where
-- that is not asked for: run the file three times on it.

\set ON_ERROR_STOP 1
\getenv store COFRE_STORE
\if :{?store}
\else
  \warn 'set COFRE_STORE to records, ciphertexts or keyring'
  SELECT 1 / 0 AS cofre_store_is_not_set;
\endif
SELECT :'store' IN ('records', 'ciphertexts', 'keyring') AS known \gset
\if :known
\else
  \warn 'COFRE_STORE is one of records, ciphertexts and keyring'
  SELECT 1 / 0 AS cofre_store_is_unknown;
\endif
SELECT 'cofre_' || :'store' AS serving, 'cofre_' || :'store' || '_owner' AS owner, 'cofre_' || :'store' AS database \gset

SELECT format('CREATE ROLE %I', :'owner') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
SELECT format('CREATE ROLE %I', :'serving') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'serving') \gexec
ALTER ROLE :"owner" LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 4;
ALTER ROLE :"serving" LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;

-- An owner that is a role of its own, so that the administrator's powers are not the tables'.
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING ''UTF8'' LC_COLLATE ''C'' LC_CTYPE ''C''', :'database', :'owner')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT, CREATE ON DATABASE :"database" TO :"owner";
GRANT CONNECT ON DATABASE :"database" TO :"serving";

-- Nobody makes anything in the schema that everybody's search path begins with.
\connect :"database"
REVOKE ALL ON SCHEMA public FROM PUBLIC;
