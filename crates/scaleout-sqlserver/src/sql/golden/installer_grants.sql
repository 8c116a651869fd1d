-- scaleout-sqlserver: grants for nodes that install.
-- Schema "scaleout", app "chat", 2 message tables, schema version 1.
-- Run it in the database of the app, with SQL Server Management Studio, or:
--     sqlcmd -S <server> -d <database> -b -I -i <this file>
GO
-- For an account that is to install by itself (install mode "create") without being db_owner.
GRANT CREATE SCHEMA, CREATE TABLE, CREATE PROCEDURE, CREATE FUNCTION TO [somebody];
-- With the doorbell:
GRANT CREATE QUEUE, CREATE SERVICE TO [somebody];
-- Where the schema is there already and of somebody else. The doorbell then also takes IMPERSONATE on that owner, as whom its
-- procedures run: better let the owner, or a DBA, install it.
IF SCHEMA_ID(N'scaleout') IS NOT NULL
    EXEC (N'GRANT ALTER, SELECT, INSERT, UPDATE, EXECUTE ON SCHEMA::[scaleout] TO [somebody]');
GO
