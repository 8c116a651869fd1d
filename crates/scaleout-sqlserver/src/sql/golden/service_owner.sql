-- scaleout-sqlserver: the owner of the services.
-- Schema "scaleout", app "chat", 2 message tables, schema version 1.
-- Run it in the database of the app, with SQL Server Management Studio, or:
--     sqlcmd -S <server> -d <database> -b -I -i <this file>
GO
-- After doorbell/, with an owner of its own: services belong to whoever created them; give them to the schema's owner, as whom the
-- procedures run. The second statement is for databases where "public" has lost it.
ALTER AUTHORIZATION ON SERVICE::[scaleout/scaleout/ear] TO [somebody];
ALTER AUTHORIZATION ON SERVICE::[scaleout/scaleout/bell] TO [somebody];
GRANT REFERENCES ON CONTRACT::[DEFAULT] TO [somebody];
GO
