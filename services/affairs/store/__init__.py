"""The statements on a tenant's records, a file for each subject. Rows become the types of `schema`."""

SCHEMA = "affairs"
