-- What all nodes of the app must agree on, and which history of the store this is: one row, written by the installer and
-- by open_epoch only, so that nothing queues on it.
IF OBJECT_ID(N'$(schema_in_text).layout', N'U') IS NULL
    CREATE TABLE $(schema).layout (
        only_row        tinyint       NOT NULL CONSTRAINT layout_pk PRIMARY KEY CLUSTERED CONSTRAINT layout_one CHECK (only_row = 1),
        schema_version  int           NOT NULL,                 -- of these objects
        compatible_from int           NOT NULL,                 -- the oldest nodes that can work with them
        app             nvarchar(64)  NOT NULL,                 -- whose messages these are
        table_count     int           NOT NULL,
        epoch           bigint        NOT NULL,                 -- microseconds since 1970 when this history began; only grows
        store           nvarchar(400) NOT NULL                  -- which database that was: see store_identity
    );
