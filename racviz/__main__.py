"""`python -m racviz …` is `racviz …`."""

from racviz.cli import main

if __name__ == "__main__":
    main()
