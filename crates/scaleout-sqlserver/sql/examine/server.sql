-- What the server is, and who asks: (version, edition by number, edition, user). It runs on servers of any age.
SELECT CAST(SERVERPROPERTY(N'ProductVersion') AS nvarchar(128)), CAST(SERVERPROPERTY(N'EngineEdition') AS int),
    CAST(SERVERPROPERTY(N'Edition') AS nvarchar(128)), USER_NAME();
