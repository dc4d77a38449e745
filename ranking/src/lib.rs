//! Retrieval and ranking models, their training and evaluation, the feed recipe.
