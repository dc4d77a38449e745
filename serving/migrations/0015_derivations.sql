-- How a clip is made from the one in `remixed_from`: other words from the same noise (`remix`), other words
-- from half of what is there (`edit`), or it and what follows (`extension`), of which `seconds_before` were
-- there before. Says nothing where `remixed_from` is null.

ALTER TABLE jobs ADD COLUMN derivation TEXT NOT NULL DEFAULT 'remix'
    CHECK (derivation IN ('remix', 'edit', 'extension'));
ALTER TABLE jobs ADD COLUMN seconds_before INTEGER NOT NULL DEFAULT 0;

-- A video is also named by its file, as it was downloaded.
CREATE INDEX assets_by_file ON assets (sha256);
