-- The owner of the schema owns every object in it: that is what lets an account work that may only execute (ownership chaining).
IF SCHEMA_ID(N'$(schema_text)') IS NULL
    EXEC (N'CREATE SCHEMA $(schema_in_text)');
