//! The HTTP APIs, state, analyst access and the built-in web app.
