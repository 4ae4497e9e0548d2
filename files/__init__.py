"""The ground: how anything is named, opened, decoded, locked and written whole, and how failure is told."""
