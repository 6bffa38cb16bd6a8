"""What the paper prints (data/paper/*.csv): for columns and curves that are called published, and for nothing else."""

from racviz.exceptions import unknown
from racviz.store import resource


def published(name: str):
    """A table of the paper as a frame.

    Parameters
    ----------
    name : str
        `math` (Table 1: accuracy, SE and minutes by model, source and sparsity), `code` (Table 2, in the same columns),
        `off_policy` (Table 3), `semi_structured` (Table 4) or `budgets` (Table 5). See data/paper/README.md.

    Raises
    ------
    ParameterError
        For a table that is not there.
    """
    import pandas as pd

    tables = {path.stem: path for path in resource("data/paper").glob("*.csv")}
    if name not in tables:
        raise unknown("published", name, sorted(tables))
    return pd.read_csv(tables[name]).assign(published=True)


def printed_model(name: str, models) -> str | None:
    """The model among `models` of the paper that a model's name means, such as deepseek-ai/DeepSeek-R1-Distill-Qwen-7B.

    Parameters
    ----------
    name : str
        Hub id, with a revision or without, or a path.
    models : iterable of str
        Names as the paper prints them.
    """
    last = name.partition("@")[0].rstrip("/").rpartition("/")[2].lower().removeprefix("deepseek-")
    return next((model for model in models if model.lower() == last), None)
