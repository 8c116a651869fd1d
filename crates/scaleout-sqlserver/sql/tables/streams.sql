-- One row per message table. A publisher holds its row from "take the next number" to the commit: commit order is the order
-- of numbers, they have no holes, and a publish that is rolled back gives its number back.
IF OBJECT_ID(N'$(schema_in_text).streams', N'U') IS NULL
    CREATE TABLE $(schema).streams (
        stream    smallint NOT NULL CONSTRAINT streams_pk PRIMARY KEY CLUSTERED,
        epoch     bigint   NOT NULL,                            -- that appends go to; others are refused
        first_seq bigint   NOT NULL,                            -- seq of the row that opened this epoch
        last_seq  bigint   NOT NULL,                            -- seq of the last row
        bytes     bigint   NOT NULL                             -- payload bytes up to the last row, of all times
    );
