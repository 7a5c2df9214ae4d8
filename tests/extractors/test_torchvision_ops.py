"""A torchvision built for another torch does not take transformers down."""

from __future__ import annotations

import subprocess
import sys


def test_transformers_models_import_whatever_torchvision_is_installed_and_twice_is_harmless() -> None:
    code = (
        "from cuebank.extractors.torchvision_ops import ensure_torchvision as e; e(); e(); "
        "from transformers import HubertModel; e(); print(HubertModel.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "HubertModel"


def test_where_torchvision_is_absent_nothing_is_imported() -> None:
    code = (
        "import importlib.util as u; find = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'torchvision' else find(name, *a); "
        "import sys; from cuebank.extractors.torchvision_ops import ensure_torchvision; ensure_torchvision(); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
