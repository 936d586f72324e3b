-- What a packet said, as JSON (web::api::PacketFacts); part of the row's hash where it is there.
ALTER TABLE event ADD COLUMN facts TEXT;
