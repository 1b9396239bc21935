"""The store on LMDB."""
