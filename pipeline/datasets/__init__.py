"""Examples built from the event store: by an engine that cuts and sorts, and as files."""
