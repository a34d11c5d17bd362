-- What is masked of an event type's payloads wherever they are shown: JSON pointers.
ALTER TABLE event_type ADD COLUMN redact text[] NOT NULL DEFAULT '{}';
