CREATE TABLE [scale]out].streams (stream smallint NOT NULL);
