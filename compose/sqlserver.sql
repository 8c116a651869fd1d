-- A database for tests, with Service Broker on (a new database has it on, one that was restored has not).
IF DB_ID(N'scaleout') IS NULL
    CREATE DATABASE scaleout;
IF EXISTS (SELECT 1 FROM sys.databases WHERE name = N'scaleout' AND is_broker_enabled = 0)
    ALTER DATABASE scaleout SET ENABLE_BROKER WITH NO_WAIT;
