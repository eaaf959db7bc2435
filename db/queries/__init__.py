"""SQL shared by several subjects of the store; asks no permission and commits nothing."""
