//! Through the router, over a real store in memory.
