CREATE OR ALTER TABLE [scaleout].streams (stream smallint NOT NULL);
