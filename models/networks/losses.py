"""What networks minimise."""

from collections.abc import Callable

import tensorflow as tf

MOST_LOGARITHM = 20.0  # of an expected value in units of the mean, so that no exponential overflows


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)


def poisson(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """The deviance of a count with mean `exp(output)`, up to what depends on the label alone and a factor: its
    minimum is the mean, whatever the distribution, where squared errors of logarithms would find the median.
    """
    clipped = tf.clip_by_value(outputs, -MOST_LOGARITHM, MOST_LOGARITHM)
    return tf.exp(clipped) - labels * clipped


def tweedie(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """The same for an amount that is often 0 and else has a long tail: Tweedie's deviance with power 1.5 (Jorgensen
    1987), `2 exp(a / 2) + 2 y exp(-a / 2)`. A wholesaler's order weighs less than it would in Poisson's.
    """
    clipped = tf.clip_by_value(outputs, -MOST_LOGARITHM, MOST_LOGARITHM)
    return 2 * tf.exp(clipped / 2) + 2 * labels * tf.exp(-clipped / 2)


def observed_mean(
    labels: tf.Tensor, outputs: tf.Tensor, loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """The mean loss over the labels that were observed; the others, padded positions included, are NaN."""
    observed = tf.math.is_finite(labels)
    losses = tf.where(observed, loss(tf.where(observed, labels, 0.0), outputs), 0.0)
    return tf.reduce_sum(losses) / tf.maximum(tf.reduce_sum(tf.cast(observed, tf.float32)), 1.0)
