"""What people look at before they trust a curation: its pairs, why each concept is there, and their own judgement."""
