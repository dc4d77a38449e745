//! Interactions in; lake, training sets and analytics out.
