"""One file per config: `def config() -> Run`. The first line of its docstring is what --list shows. ADD A CONFIG HERE."""
