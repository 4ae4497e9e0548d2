"""Things: what stands, sits, drives and flies in a scene."""
