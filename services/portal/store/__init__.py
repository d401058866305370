"""The tables of the portal: sessions and drafts, in the database of the tenant whose site it is."""
