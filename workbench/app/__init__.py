"""What a user can do, one function each; window and command line call only this."""
