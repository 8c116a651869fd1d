-- scaleout-sqlserver: Service Broker.
-- Schema "scaleout", app "chat", 2 message tables, schema version 1.
-- Run it in the database of the app, with SQL Server Management Studio, or:
--     sqlcmd -S <server> -d <database> -b -I -i <this file>
GO
-- Only on request. Takes an exclusive lock on the database: WITH NO_WAIT fails (5070) while others are connected, instead of
-- waiting for them or throwing them out. Refused inside an availability group (take the database out first) and on a
-- Managed Instance (always on).
ALTER DATABASE CURRENT SET ENABLE_BROKER WITH NO_WAIT;
GO
