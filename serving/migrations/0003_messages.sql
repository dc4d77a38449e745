-- Direct messages. A conversation is the pair of people; its first message started it.

CREATE TABLE messages (
    message_id TEXT PRIMARY KEY,
    sender_id  TEXT NOT NULL REFERENCES people (user_id),
    reader_id  TEXT NOT NULL REFERENCES people (user_id),
    text       TEXT NOT NULL,
    sent_ms    INTEGER NOT NULL,
    read_ms    INTEGER,
    CHECK (sender_id <> reader_id)
) STRICT;

CREATE INDEX messages_by_sender ON messages (sender_id, reader_id, sent_ms);
CREATE INDEX messages_by_reader ON messages (reader_id, sent_ms);
