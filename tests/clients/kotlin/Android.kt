// Declarations of the parts of Android that the examples in clients/kotlin/README.md use.

package android.content

interface SharedPreferences {
    fun getString(name: String, other: String?): String?

    fun edit(): Editor

    interface Editor {
        fun putString(name: String, value: String?): Editor

        fun remove(name: String): Editor

        fun apply()
    }
}

abstract class Context {
    abstract fun getSharedPreferences(name: String, mode: Int): SharedPreferences

    companion object {
        const val MODE_PRIVATE = 0
    }
}
