-- scaleout-sqlserver: grants for run time.
-- Schema "scaleout", app "chat", 2 message tables, schema version 1.
-- Run it in the database of the app, with SQL Server Management Studio, or:
--     sqlcmd -S <server> -d <database> -b -I -i <this file>
GO
-- Run time: all a node needs. It may be a user of a login, of a contained database or of Entra ID, or a role.
GRANT EXECUTE ON SCHEMA::[scaleout] TO [somebody];
GO
