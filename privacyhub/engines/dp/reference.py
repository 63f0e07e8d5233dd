"""TensorFlow Privacy's own training, selectable as the reference implementation.

`DPSequential` is fed the same true Poisson batches as the engine. It divides by the
number of rows that it is given, so its loss is a sum and its optimizer gets the noisy
sum; a wrapper divides that by the expected batch. Rows are not padded: a padded row
would be clipped and counted. A drawn batch without a row is skipped by Keras, so it is
replaced by one row of weight 0. For networks over features alone, without embeddings,
class weights or several rows a unit.
"""

from __future__ import annotations

import math
import sys
from typing import Any

# The package file of TensorFlow Privacy imports an Estimator that no longer exists.
sys.skip_tf_privacy_import = True  # type: ignore[attr-defined]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow_privacy.privacy.fast_gradient_clipping import (  # noqa: E402
    clip_grads,
    layer_registry,
)
from tensorflow_privacy.privacy.keras_models.dp_keras_model import (  # noqa: E402
    DPSequential,
)
