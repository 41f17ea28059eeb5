"""Special functions and linear algebra."""
