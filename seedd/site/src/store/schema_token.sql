-- The join token that the machine named in its hello.
ALTER TABLE enrollment ADD COLUMN token TEXT;
CREATE INDEX enrollment_token ON enrollment(token, state) WHERE token IS NOT NULL;
