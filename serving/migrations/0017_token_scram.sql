-- What a token that may ask the lake is proven by over the PostgreSQL protocol (RFC 5803). Tokens from before have
-- none and sign in over HTTP alone.
ALTER TABLE tokens ADD COLUMN scram BLOB;
