-- One row per node that waits for the doorbell; empty where Service Broker is not used. Written by register, collect, arm, wait,
-- ring and unregister; publish only looks, after its commit.
IF OBJECT_ID(N'$(schema_in_text).listeners', N'U') IS NULL
    CREATE TABLE $(schema).listeners (
        listener uniqueidentifier NOT NULL CONSTRAINT listeners_pk PRIMARY KEY CLUSTERED,
        label    nvarchar(128)    NOT NULL,                     -- for people: host and process
        armed    bit              NOT NULL,                     -- wants one doorbell
        streams  varbinary(128)   NULL,                         -- bit map of the streams it wants; NULL: all
        ear      uniqueidentifier NOT NULL,                     -- conversation end that the node waits on
        bell     uniqueidentifier NULL,                         -- conversation end that publishers send on; NULL: to be registered again
        seen_at  datetime2(3)     NOT NULL                      -- lease: renewed by arm and wait
    );
