"""What is measured, one module a family; each act measures one peer once and returns samples."""
