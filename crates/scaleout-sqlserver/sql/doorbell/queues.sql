-- Two queues and two services for the whole app, whatever the number of nodes; nothing is created at run time.
-- ears: where nodes wait, each for its own conversation. bells: what comes back to the other ends.
-- Services belong to the database, not to a schema: their names carry it. Contract and message type are the built-in ones.
IF OBJECT_ID(N'$(schema_in_text).ears', N'SQ') IS NULL
    CREATE QUEUE $(schema).ears WITH STATUS = ON, RETENTION = OFF, POISON_MESSAGE_HANDLING (STATUS = OFF);
IF OBJECT_ID(N'$(schema_in_text).bells', N'SQ') IS NULL
    CREATE QUEUE $(schema).bells WITH STATUS = ON, RETENTION = OFF, POISON_MESSAGE_HANDLING (STATUS = OFF);
IF NOT EXISTS (SELECT 1 FROM sys.services WHERE name = N'$(ear_service_text)')
    CREATE SERVICE $(ear_service) ON QUEUE $(schema).ears;
IF NOT EXISTS (SELECT 1 FROM sys.services WHERE name = N'$(bell_service_text)')
    CREATE SERVICE $(bell_service) ON QUEUE $(schema).bells ([DEFAULT]);
