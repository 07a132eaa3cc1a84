"""From sorted revisions to examples with both views and labels, shard by shard."""
