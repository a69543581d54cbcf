"""Runs OpenCV's Caffe importer in a process of its own: a network that it mistakes can corrupt the memory it runs in.

Started by `opencv` as a script, with the description, the weights and a folder. Takes inputs.npz from the folder, an
array ``blob <name>`` for each input. Leaves outputs.npz, an array ``<i> <j>`` for output j of layer i, and
result.json: the layers' names and at which one it stopped, or why it could do nothing.
"""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


def main(prototxt: Path, weights: Path, folder: Path) -> dict[str, Any]:
    """Compute as many layers as OpenCV can; returns what result.json says."""
    cv2: Any = import_module("cv2")

    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        return {"problem": f"version {cv2.__version__} has no Caffe importer; versions below 5 have"}
    try:
        net = cv2.dnn.readNetFromCaffe(np.fromfile(prototxt, np.uint8), np.fromfile(weights, np.uint8))
        # Each layer by itself, and convolutions as sums: closer to Caffe's own arithmetic.
        net.enableFusion(False)
        net.enableWinograd(False)
        with np.load(folder / "inputs.npz", allow_pickle=False) as inputs:
            for name in inputs.files:
                net.setInput(inputs[name], name.removeprefix("blob "))
        names = list(net.getLayerNames())
    except OSError as error:
        return {"problem": f"it cannot read the files ({error.strerror})"}
    except cv2.error as error:
        return {"problem": f"it cannot load the network ({reason(error)})"}
    # One layer that fails stops the whole run: halve the number of layers until it works.
    works, fails, outputs, stopped = 0, len(names) + 1, [], ""
    while fails - works > 1:
        count = (works + fails) // 2 if stopped else len(names)
        try:
            outputs = net.forwardAndRetrieve(names[:count])
            works = count
        except cv2.error as error:
            fails, stopped = count, reason(error)
    stopped = f"stops at layer '{names[works]}' ({stopped})" if stopped else ""
    if not outputs:
        return {"problem": stopped or "it finds no layers"}
    arrays = {f"{i} {j}": array for i, tops in enumerate(outputs) for j, array in enumerate(tops)}
    np.savez(folder / "outputs.npz", **arrays)
    return {"version": cv2.__version__, "names": names[:works], "stopped": stopped}


def reason(error: Exception) -> str:
    """The heart of a message such as "OpenCV(4.14.0) file.cpp:1: error: (-2:Kind) reason in function 'f'"."""
    text = " ".join(str(error).split())
    if expected := re.search(r"\(expected: '(.*?)'\)", text):
        return f"expected {expected[1]}"
    text = text.rpartition("error: ")[2].partition(") ")[2] or text
    return text.partition(" in function ")[0][:120]


if __name__ == "__main__":
    place = Path(sys.argv[3])
    (place / "result.json").write_text(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), place)))
