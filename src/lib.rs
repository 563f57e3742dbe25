//! `zkserver`: a coordination server that ZooKeeper clients, tools and ensembles accept as ZooKeeper.
