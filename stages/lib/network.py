"""The network between the prepared columns and the output, as Keras layers."""

from stages.lib.backend import keras
from stages.lib.params import LOSSES, Data, Train


class RepeatableDense(keras.layers.Dense):
    """`Dense` whose matrix product is written as multiply and sum.

    A matrix product adds in an order that depends on the CPU; under XLA this one does not. It
    serves the training alone; the saved model has `Dense` layers.
    """

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        products = keras.ops.expand_dims(inputs, 2) * self.kernel
        return self.activation(keras.ops.sum(products, axis=1) + self.bias)


def layers(
    train: Train, data: Data, dense: type[keras.layers.Dense] = keras.layers.Dense
) -> list[keras.layers.Layer]:
    """A dense layer (and dropout) for each number of `train.units`, then the output.

    The output is the probability of the positive class, the probabilities of `data.classes` in
    their order, or the standardised value of a regression.
    """
    stack: list[keras.layers.Layer] = []
    for number, units in enumerate(train.units, start=1):
        stack.append(
            dense(
                units,
                activation=train.activation,
                kernel_initializer=train.kernel_initializer,
                kernel_regularizer=keras.regularizers.L2(train.l2) if train.l2 else None,
                name=f"hidden-{number}",
            )
        )
        if train.dropout:
            stack.append(keras.layers.Dropout(train.dropout, seed=train.seed + number))
    units, activation, name = {
        "binary": (1, "sigmoid", "output-probability"),
        "multiclass": (len(data.classes), "softmax", "output-probabilities"),
        "regression": (1, "linear", "output-standardised"),
    }[data.task]
    initializer = train.kernel_initializer
    return [*stack, dense(units, activation=activation, kernel_initializer=initializer, name=name)]


def compiled(stack: list[keras.layers.Layer], width: int, train: Train, data: Data) -> keras.Model:
    """A compiled Keras model of these layers over `width` prepared columns."""
    model = keras.Sequential([keras.Input((width,)), *stack])
    optimizer = keras.optimizers.get(
        {"class_name": train.optimizer, "config": {"learning_rate": train.learning_rate}}
    )
    loss = LOSSES[data.task][0] if train.loss == "auto" else train.loss
    metric = "mean_absolute_error" if data.task == "regression" else "accuracy"
    model.compile(optimizer=optimizer, loss=loss, metrics=[metric], jit_compile=False)
    return model
