"""Reading: shards and tables -> pairs of pictures and captions, or the reason why not."""
