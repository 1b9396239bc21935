"""What people write with: base classes, decorators, state, context, retry."""
